import { formatDateTime } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { RelativeTime } from "@mail/core/common/relative_time";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { Component } from "@odoo/owl";

/** A moment in words, as “3 hours ago”, in the reader's language. Its title is the moment itself, in their time zone. */
export class AgoField extends Component {
    static template = "miasalud_crm.AgoField";
    static components = { RelativeTime };
    static props = { ...standardFieldProps, hours: { type: Number, optional: true } };

    get moment() {
        const value = this.props.record.data[this.props.name];
        return value && value.plus({ hours: this.props.hours || 0 });
    }

    get title() {
        return formatDateTime(this.moment);
    }
}

registry.category("fields").add("manychat_ago", {
    component: AgoField,
    displayName: _t("How long ago"),
    supportedTypes: ["datetime"],
    isEmpty: () => false,
    extractProps: ({ options }) => ({ hours: options.hours }),
});
