import { Component, onWillStart, useState } from "@odoo/owl";
import { CopyButton } from "@web/core/copy_button/copy_button";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { Layout } from "@web/search/layout";
import { standardActionServiceProps } from "@web/webclient/actions/action_service";

/** The External Requests to paste into ManyChat. The server writes them; this component shows one at a time. */
export class Requests extends Component {
    static template = "miasalud_crm.Requests";
    static components = { CopyButton, Layout };
    static props = { ...standardActionServiceProps };

    copied = _t("Copied");

    setup() {
        this.action = useService("action");
        const orm = useService("orm");
        this.state = useState({ webhook: "opportunity", body: false });
        onWillStart(async () => {
            this.data = await orm.call("manychat.request", "requests", []);
        });
    }

    get webhook() {
        return this.data.webhooks.find((webhook) => webhook.name === this.state.webhook);
    }

    get body() {
        const bodies = this.webhook.bodies;
        return bodies.find((body) => body.id === this.state.body) || bodies[0];
    }

    chooseStage(ev) {
        this.state.body = parseInt(ev.target.value);
    }

    newKey() {
        return this.action.doAction("miasalud_crm.manychat_api_key_create_action");
    }
}

registry.category("actions").add("miasalud_crm.requests", Requests);
