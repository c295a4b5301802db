import { CopyButton } from "@web/core/copy_button/copy_button";

/** Odoo's button that copies a text, with a name for people who hear the screen: what it copies. */
export class LabelledCopyButton extends CopyButton {
    static template = "miasalud_crm.LabelledCopyButton";
    static props = { ...CopyButton.props, label: String };
}
