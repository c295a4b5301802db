# Odoo 18 with the addon. Build from the checkout's root: docker build -f deploy/odoo.Dockerfile -t miasalud-odoo .
FROM odoo:18.0

USER root
COPY pyproject.toml LICENSE /opt/miasalud/
COPY bridge /opt/miasalud/bridge
# Of our package the contract only; no extras, so that nothing Odoo pins is replaced.
RUN pip3 install --no-cache-dir --break-system-packages "azure-storage-queue>=12.10" /opt/miasalud
COPY miasalud_crm /mnt/extra-addons/miasalud_crm
# A new volume takes over its mount point's owner: docker-compose's service "keys" writes here as odoo.
RUN install -d -o odoo /keys
USER odoo
