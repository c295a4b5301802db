import { registry } from "@web/core/registry";
import { _t } from "@web/core/l10n/translation";
import { useService } from "@web/core/utils/hooks";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { Component } from "@odoo/owl";

/** A number that opens the counted records, with a method of the record that returns an action. */
export class CountField extends Component {
    static template = "miasalud_crm.CountField";
    static props = { ...standardFieldProps, method: { type: String } };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
    }

    get count() {
        return this.props.record.data[this.props.name] || 0;
    }

    get opens() {
        return Boolean(this.count && this.props.record.resId);
    }

    async open() {
        const { resModel, resId } = this.props.record;
        this.action.doAction(await this.orm.call(resModel, this.props.method, [[resId]]));
    }
}

registry.category("fields").add("manychat_count", {
    component: CountField,
    displayName: _t("Number that opens what it counts"),
    supportedTypes: ["integer"],
    extractProps: ({ options }) => ({ method: options.action }),
});
