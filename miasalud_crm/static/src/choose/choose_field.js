import { registry } from "@web/core/registry";
import { many2OneField } from "@web/views/fields/many2one/many2one_field";
import { Component } from "@odoo/owl";

const shownAs = (name) => registry.category("fields").get(name || "many2one");

/**
 * A record to choose. While it is empty it says so, also in a row of a list that is not being edited. Otherwise it is
 * the field of the option `shown_as`.
 */
export class ChooseField extends Component {
    static template = "miasalud_crm.ChooseField";
    static props = ["*"];

    get isOpen() {
        return this.props.readonly && !this.props.record.data[this.props.name];
    }

    get field() {
        return shownAs(this.props.shownAs);
    }

    get fieldProps() {
        const { shownAs, ...props } = this.props;
        return props;
    }
}

registry.category("fields").add("manychat_choose", {
    ...many2OneField,
    component: ChooseField,
    extractProps: (info, dynamicInfo) => {
        const { shown_as, ...options } = info.options;
        const props = shownAs(shown_as).extractProps({ ...info, options }, dynamicInfo);
        return { ...props, shownAs: shown_as };
    },
});
