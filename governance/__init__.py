"""What a product owes to those who answer for it: cards today. Pure: values in, texts out. No Dagster."""
