-- What another detector says of a spike that people are called for.
ALTER TABLE anomaly_raw
    ADD COLUMN second_opinion Nullable(Float64)
        COMMENT 'the score of a detector of pyod; null: it was not asked, or has too little to go by' AFTER score;
