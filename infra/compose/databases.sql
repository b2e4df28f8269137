-- Runs once, on an empty volume. The other one, mlflow, is made by POSTGRES_DB.
CREATE DATABASE mlflow_auth OWNER mlflow;
