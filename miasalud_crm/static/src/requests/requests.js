import { Component, onWillStart, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { Layout } from "@web/search/layout";
import { standardActionServiceProps } from "@web/webclient/actions/action_service";
import { LabelledCopyButton } from "./labelled_copy_button";
import { curl, whole } from "./request_text";
import { TryRequest } from "./try_request";

const OTHER = "other";

/** The External Requests to paste into ManyChat. The server writes them; this component shows one at a time. */
export class Requests extends Component {
    static template = "miasalud_crm.Requests";
    static components = { LabelledCopyButton, Layout, TryRequest };
    static props = { ...standardActionServiceProps };

    copied = _t("Copied");
    OTHER = OTHER;

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({
            webhook: "opportunity",
            // The row of the stage map from which the page was opened.
            body: this.props.action.context?.manychat_stage_map_id || false,
            isOther: false,
            isDryRun: false,
            data: null,
        });
        onWillStart(() => this.load(""));
    }

    async load(channel) {
        const asked = (this.asked = {});
        const data = await this.orm.call("manychat.request", "requests", [channel]);
        if (asked === this.asked) {
            this.state.data = data;
        }
    }

    get data() {
        return this.state.data;
    }

    get webhook() {
        return this.data.webhooks.find((webhook) => webhook.name === this.state.webhook);
    }

    get body() {
        const bodies = this.webhook.bodies;
        return bodies.find((body) => body.id === this.state.body) || bodies[0];
    }

    get hasChannel() {
        return this.webhook.name === "opportunity" || this.webhook.name === "contact";
    }

    get headers() {
        return this.state.isDryRun ? [...this.webhook.headers, this.data.dry_run] : this.webhook.headers;
    }

    get whole() {
        return whole(this.webhook, this.headers, this.body.body);
    }

    get curl() {
        return curl(this.webhook, this.headers, this.body.example);
    }

    copyLabel(what) {
        return _t("Copy: %s", what);
    }

    chooseStage(ev) {
        this.state.body = parseInt(ev.target.value);
    }

    chooseChannel(ev) {
        this.state.isOther = ev.target.value === OTHER;
        return this.state.isOther ? undefined : this.load(ev.target.value);
    }

    newKey() {
        return this.action.doAction("miasalud_crm.manychat_api_key_create_action");
    }

    openStageMap() {
        return this.action.doAction("miasalud_crm.manychat_stage_map_action");
    }
}

registry.category("actions").add("miasalud_crm.requests", Requests);
