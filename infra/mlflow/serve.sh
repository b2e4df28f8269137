#!/bin/sh
# MLflow's server. Its secrets are files in SECRETS (/run/secrets), one each, and stand in no command line:
#   postgres_password  mlflow_admin_password  mlflow_secret_key  s3_access_key  s3_secret_key
# Without a database or a bucket it takes what MLFLOW_BACKEND_STORE_URI and ARTIFACTS say.
set -eu

secrets=${SECRETS:-/run/secrets}

secret() {
    if [ ! -s "$secrets/$1" ]; then
        echo "serve.sh: $secrets/$1: no such secret" >&2
        exit 2
    fi
    cat "$secrets/$1"
}

PGPASSWORD=$(secret postgres_password)
MLFLOW_AUTH_ADMIN_PASSWORD=$(secret mlflow_admin_password)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(secret mlflow_secret_key)
AWS_ACCESS_KEY_ID=$(secret s3_access_key)
AWS_SECRET_ACCESS_KEY=$(secret s3_secret_key)
export PGPASSWORD MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY

export MLFLOW_AUTH_CONFIG_PATH="${MLFLOW_AUTH_CONFIG_PATH:-/etc/mlflow/auth.ini}"
export MLFLOW_BACKEND_STORE_URI="${MLFLOW_BACKEND_STORE_URI:-postgresql://mlflow@postgres/mlflow}"
export MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false  # half a dozen processes for jobs that we never send

# Clients send artifacts to the server, and need no key of the store.
exec mlflow server \
    --app-name basic-auth \
    --host "${HOST:-0.0.0.0}" --port "${PORT:-5000}" --workers "${WORKERS:-2}" \
    --allowed-hosts "${ALLOWED_HOSTS:-localhost:*,127.0.0.1:*,mlflow:*}" \
    --serve-artifacts --artifacts-destination "${ARTIFACTS:-s3://mlflow}"
