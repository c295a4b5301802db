import { Component, onWillDestroy, onWillStart, useState } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { Layout } from "@web/search/layout";
import { standardActionServiceProps } from "@web/webclient/actions/action_service";
import { TestEvent } from "./test_event";

// Milliseconds between two updates of the checklist.
const INTERVAL = 3000;

/** The checklist from a fresh installation to the first moved opportunity. It updates itself. */
export class GettingStarted extends Component {
    static template = "miasalud_crm.GettingStarted";
    static components = { Layout, TestEvent };
    static props = { ...standardActionServiceProps };

    icons = {
        done: "fa-check-circle text-success",
        todo: "fa-circle-o text-muted",
        warning: "fa-exclamation-triangle text-warning",
    };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({ steps: [], lost: false });
        onWillStart(() => this.load());
        onWillDestroy(() => browser.clearTimeout(this.timer));
    }

    get doneCount() {
        return this.state.steps.filter((step) => step.state === "done").length;
    }

    /** Load the checklist, now and again after a while. A failure shows no dialog, since the next call may work. */
    async load() {
        browser.clearTimeout(this.timer);
        try {
            this.state.steps = await this.orm.silent.call("manychat.setup", "checklist", []);
            this.state.lost = false;
        } catch (error) {
            if (!this.state.steps.length) {
                throw error;
            }
            this.state.lost = true;
        }
        this.timer = browser.setTimeout(() => this.load(), INTERVAL);
    }

    /** Open the action of a step's button, or call its method and show what that says. */
    async run({ action, method }) {
        const shown = action || (await this.orm.call("manychat.setup", method, []));
        if (shown) {
            await this.action.doAction(shown);
        }
        if (method) {
            await this.load();
        }
    }
}

registry.category("actions").add("miasalud_crm.getting_started", GettingStarted);
