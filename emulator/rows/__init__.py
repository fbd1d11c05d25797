"""The rows of datasets: what they look like by task type, how they are checked, and the Parquet file they become."""
