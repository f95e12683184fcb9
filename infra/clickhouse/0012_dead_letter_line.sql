-- A view keeps the columns that its table had when it was made: dead_letter did not show the line of 0007.
CREATE OR REPLACE VIEW dead_letter AS
SELECT * FROM dead_letter_raw FINAL;
