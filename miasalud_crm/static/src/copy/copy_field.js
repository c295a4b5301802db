import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { CopyClipboardCharField, copyClipboardCharField } from "@web/views/fields/copy_clipboard/copy_clipboard_field";

import { LabelledCopyButton } from "../requests/labelled_copy_button";

/** Odoo's text with a button that copies it. The button has a name for people who hear the screen. */
export class CopyField extends CopyClipboardCharField {
    static template = "miasalud_crm.CopyField";
    static components = { ...CopyClipboardCharField.components, LabelledCopyButton };

    get label() {
        return _t("Copy: %s", this.props.record.fields[this.props.name].string);
    }
}

registry.category("fields").add("manychat_copy", { ...copyClipboardCharField, component: CopyField });
