# Odoo 18 with the addon. Build from the checkout's root: docker build -f deploy/odoo.Dockerfile -t miasalud-odoo .
FROM odoo:18.0

USER root
COPY pyproject.toml LICENSE /opt/miasalud/
COPY bridge /opt/miasalud/bridge
# Only the contract and the queue client, no extras: Odoo's pinned libraries stay as they are.
RUN pip3 install --no-cache-dir --break-system-packages "azure-storage-queue>=12.10" /opt/miasalud
COPY miasalud_crm /mnt/extra-addons/miasalud_crm
# A new volume gets the owner of its mount point: the service "keys" of docker-compose.yml writes here as odoo.
RUN install -d -o odoo /keys
USER odoo
