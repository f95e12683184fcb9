"""What Spendstream runs on: migrations, topics, and the embedded broker and database."""
