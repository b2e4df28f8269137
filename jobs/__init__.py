"""What a person or a scheduler starts. The one place that knows MLflow, and where Ray is started."""
