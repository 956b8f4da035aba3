"""Where settings become things: lake, dbt, model registry. The only place that reads the environment."""
