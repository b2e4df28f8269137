#!/bin/sh
# Makes every secret of compose.yaml, once, into the folder secrets/, which git ignores. What is there stays.
# The folder is yours alone; the files are readable, for in the containers other users read them.
set -eu

cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 700 secrets

random() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

for name in postgres_password mlflow_admin_password mlflow_secret_key s3_access_key s3_secret_key \
    ray_token grafana_password; do
    [ -s "secrets/$name" ] || random >"secrets/$name"
done

cat >secrets/noiseloom.env <<END
AWS_ACCESS_KEY_ID=$(cat secrets/s3_access_key)
AWS_SECRET_ACCESS_KEY=$(cat secrets/s3_secret_key)
MLFLOW_TRACKING_USERNAME=admin
MLFLOW_TRACKING_PASSWORD=$(cat secrets/mlflow_admin_password)
END

cat >secrets/s3.json <<END
{"identities": [{"name": "noiseloom",
  "credentials": [{"accessKey": "$(cat secrets/s3_access_key)", "secretKey": "$(cat secrets/s3_secret_key)"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END

chmod 644 secrets/*
chmod 600 secrets/noiseloom.env
echo "secrets/ is ready"
