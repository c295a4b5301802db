#!/bin/sh
# Gives the jobs the image that the apps got, and runs `db upgrade`. azd calls it after `azd deploy`.
#
# The bridges of the release before go on meanwhile: a migration only adds to the tables, and the new bridge is not ready
# before the tables are.
set -eu
: "${AZURE_RESOURCE_GROUP:?}" "${SERVICE_BRIDGE_IMAGE_NAME:?}" "${UPGRADE_JOB:?}" "${OTHER_JOBS:?}"

for job in "$UPGRADE_JOB" $OTHER_JOBS; do
    az containerapp job update --resource-group "$AZURE_RESOURCE_GROUP" --name "$job" \
        --image "$SERVICE_BRIDGE_IMAGE_NAME" --output none
done

execution=$(az containerapp job start --resource-group "$AZURE_RESOURCE_GROUP" --name "$UPGRADE_JOB" \
    --query name --output tsv)
status=Running
while [ "$status" = Running ] || [ "$status" = Processing ] || [ "$status" = Unknown ]; do
    sleep 5
    status=$(az containerapp job execution show --resource-group "$AZURE_RESOURCE_GROUP" --name "$UPGRADE_JOB" \
        --job-execution-name "$execution" --query properties.status --output tsv)
    echo "db upgrade: $status"
done
if [ "$status" != Succeeded ]; then
    echo "The tables are not upgraded: see the log of $execution. The bridges of the release before go on." >&2
    exit 1
fi
