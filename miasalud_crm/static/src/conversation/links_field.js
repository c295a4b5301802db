import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { Dropdown } from "@web/core/dropdown/dropdown";
import { useDropdownState } from "@web/core/dropdown/dropdown_hooks";
import { RelativeTime } from "@mail/core/common/relative_time";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { Component } from "@odoo/owl";

const { DateTime } = luxon;

/**
 * A button that opens a conversation in a new tab; for several conversations, a short list, the newest first.
 *
 * It is a link, not a call of a method: telephones open the app of its address, and no browser blocks it.
 */
export class LinksField extends Component {
    static template = "miasalud_crm.LinksField";
    static components = { Dropdown, RelativeTime };
    static props = {
        ...standardFieldProps,
        label: String,
        icon: { type: String, optional: true },
    };

    setup() {
        this.menu = useDropdownState();
    }

    get links() {
        return this.props.record.data[this.props.name] || [];
    }

    moment(link) {
        return link.at && DateTime.fromISO(link.at);
    }
}

registry.category("fields").add("manychat_links", {
    component: LinksField,
    displayName: _t("Links to conversations"),
    supportedTypes: ["json"],
    isEmpty: () => false,
    extractProps: ({ options, string }) => ({ label: string, icon: options.icon }),
});
