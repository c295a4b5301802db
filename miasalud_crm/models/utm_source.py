from odoo import fields, models

from bridge.contract.fields import channel_key


class UtmSource(models.Model):
    _inherit = "utm.source"

    # The form for comparing of the channel that the source stands for. It stays if a user renames the source.
    manychat_channel_key = fields.Char("ManyChat Channel", readonly=True, copy=False)

    def init(self):
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS utm_source_manychat_channel_key_unique ON utm_source "
            "(manychat_channel_key) WHERE manychat_channel_key IS NOT NULL"
        )
        return super().init()

    def _manychat_find_or_create(self, channels):
        """Find the sources of ``channels``. A source that people made is found by its name; a missing one is created.

        :param channels: names as events carry them, the first spelling first
        :return dict: ``channel_key`` of the channel → id of its source
        """
        spellings = {}
        for channel in channels:
            spellings.setdefault(channel_key(channel), channel)
        if not spellings:
            return {}
        known = self.search_fetch([("manychat_channel_key", "in", list(spellings))], ["manychat_channel_key"])
        found = {source.manychat_channel_key: source.id for source in known}
        missing = {key: name for key, name in spellings.items() if key not in found}
        if missing:
            found |= self._manychat_adopt(missing)
        for key, name in missing.items():
            if key not in found:
                source = self.create({"name": name, "manychat_channel_key": key})
                # Odoo takes a number in brackets for a counter of its own, and renames what it creates.
                if source.name != name and not self.search_count([("name", "=", name)], limit=1):
                    source.name = name
                found[key] = source.id
        return found

    def _manychat_adopt(self, missing):
        """Mark the sources of these channels that people made, or an earlier version of the addon.

        :param dict missing: key of the channel → name
        :return dict: key → id of the source, of those that exist
        """
        self.flush_model()
        # Not by a pattern of SQL: it knows neither our form for comparing nor "%" and "_" as letters.
        self.env.cr.execute("SELECT id, name FROM utm_source WHERE manychat_channel_key IS NULL ORDER BY id")
        found = {}
        for source_id, name in self.env.cr.fetchall():
            key = channel_key(name)
            if key in missing and (key not in found or name == missing[key]):
                found[key] = source_id
        for key, source_id in found.items():
            self.browse(source_id).manychat_channel_key = key
        return found
