import { registry } from "@web/core/registry";
import { many2OneField, Many2OneField } from "@web/views/fields/many2one/many2one_field";
import { Component } from "@odoo/owl";

/** A record to choose that says so while it is empty, also in a row of a list that is not being edited. */
export class ChooseField extends Component {
    static template = "miasalud_crm.ChooseField";
    static components = { Many2OneField };
    static props = ["*"];

    get isOpen() {
        return this.props.readonly && !this.props.record.data[this.props.name];
    }
}

registry.category("fields").add("manychat_choose", { ...many2OneField, component: ChooseField });
