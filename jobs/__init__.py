"""What a person or a scheduler starts. The one place that knows MLflow, and that starts Ray."""
