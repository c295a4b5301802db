import { registry } from "@web/core/registry";
import { _t } from "@web/core/l10n/translation";
import { usePopover } from "@web/core/popover/popover_hook";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { Component } from "@odoo/owl";

class AttentionPopover extends Component {
    static template = "miasalud_crm.AttentionPopover";
    static props = { text: String, close: { type: Function, optional: true } };
}

/** A sign for a text that wants attention: the text opens from it, in a list whose columns leave no room for it. */
export class AttentionField extends Component {
    static template = "miasalud_crm.AttentionField";
    static props = standardFieldProps;

    setup() {
        this.popover = usePopover(AttentionPopover, { position: "left" });
    }

    get text() {
        return this.props.record.data[this.props.name];
    }

    open(ev) {
        this.popover.open(ev.currentTarget, { text: this.text });
    }
}

registry.category("fields").add("manychat_attention", {
    component: AttentionField,
    displayName: _t("Sign that opens a text"),
    supportedTypes: ["char", "text"],
});
