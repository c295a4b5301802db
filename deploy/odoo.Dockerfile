# Odoo 18 with the addon. Build from the checkout's root: docker build -f deploy/odoo.Dockerfile -t miasalud-odoo .
#
# To pin a base image by its content, name its digest: --build-arg ODOO_IMAGE=odoo:18.0-20260926@sha256:…
ARG PYTHON_IMAGE=python:3.13.15-slim-trixie
ARG ODOO_IMAGE=odoo:18.0-20260926

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY deploy/constraints.txt pyproject.toml LICENSE ./
COPY bridge ./bridge
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --constraint constraints.txt hatchling \
    && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${ODOO_IMAGE}
# Root for what follows; the last USER is what runs.
USER 0
COPY deploy/constraints-odoo.txt /opt/miasalud/constraints-odoo.txt
COPY --from=build /wheels /opt/miasalud/wheels
# The contract, the queue's client and the login without a key. The constraints leave Odoo's own libraries as they are.
RUN pip3 install --no-cache-dir --break-system-packages --root-user-action=ignore \
        --constraint /opt/miasalud/constraints-odoo.txt azure-storage-queue \
        "$(find /opt/miasalud/wheels -name '*.whl')[identity,otel]" \
    && rm -r /opt/miasalud/wheels \
    && useradd --uid 10001 --home-dir /srv/odoo --no-create-home miasalud \
    # New volumes get the owner of their mount points. Odoo's data is in none of the base image's own VOLUMEs, whose owner
    # is another user, and neither is the addon: a volume of an older image would hide a newer addon.
    && install --directory --owner=miasalud --group=miasalud /srv/odoo /keys
COPY deploy/odoo/odoo.conf /etc/odoo/odoo.conf
COPY deploy/odoo/entrypoint deploy/odoo/upgrade.py deploy/odoo/bridge_key.py /opt/miasalud/
COPY miasalud_crm /opt/miasalud/addons/miasalud_crm
ENV HOME=/srv/odoo \
    ODOO_RC=/etc/odoo/odoo.conf
USER 10001:10001
WORKDIR /srv/odoo
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8069/health"]
ENTRYPOINT ["/opt/miasalud/entrypoint"]
CMD ["odoo"]

ARG REVISION=unknown
LABEL org.opencontainers.image.title="Odoo with MiaSalud CRM" \
    org.opencontainers.image.description="Odoo 18 with the addon that takes ManyChat's events into the CRM pipeline" \
    org.opencontainers.image.licenses="LGPL-3.0-or-later" \
    org.opencontainers.image.version="0.7.0" \
    org.opencontainers.image.revision="${REVISION}"
