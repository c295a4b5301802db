import { Component, onWillDestroy, useState } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { Dropdown } from "@web/core/dropdown/dropdown";
import { DropdownItem } from "@web/core/dropdown/dropdown_item";
import { deserializeDateTime } from "@web/core/l10n/dates";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { session } from "@web/session";

/** Milliseconds between two looks. The server itself looks every minute. */
const INTERVAL = 120_000;

/**
 * The open ManyChat problems, in the menu bar. The session brings the first number, and only to those who may see it, so
 * the counter needs no request when a page opens.
 */
export class Problems extends Component {
    static template = "miasalud_crm.Problems";
    static components = { Dropdown, DropdownItem };
    static props = {};

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({ count: session.manychat_problems, problems: [] });
        const timer = browser.setInterval(() => document.hidden || this.load(), INTERVAL);
        onWillDestroy(() => browser.clearInterval(timer));
    }

    async load() {
        try {
            this.state.problems = await this.orm.silent.call("manychat.alert", "open_problems", []);
            this.state.count = this.state.problems.length;
        } catch {
            // The server restarts, or the session has ended: what is shown stays, and the next look tells more.
        }
    }

    ago(problem) {
        return deserializeDateTime(problem.since).toRelative();
    }

    open(problem) {
        return this.action.doAction(
            { type: "ir.actions.act_window", res_model: "manychat.alert", res_id: problem.id, views: [[false, "form"]] },
            { clearBreadcrumbs: true }
        );
    }
}

registry.category("systray").add(
    "miasalud_crm.problems",
    { Component: Problems, isDisplayed: () => session.manychat_problems !== undefined },
    { sequence: 30 }
);
