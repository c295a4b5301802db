"""MiaSalud bridge: carries ManyChat events from Azure Storage Queues to Azure SQL and to Odoo."""

__version__ = "0.7.0"
