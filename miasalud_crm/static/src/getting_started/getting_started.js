import { Component, onWillDestroy, onWillStart, useExternalListener, useState } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { AlertDialog } from "@web/core/confirmation_dialog/confirmation_dialog";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { Layout } from "@web/search/layout";
import { standardActionServiceProps } from "@web/webclient/actions/action_service";
import { TestEvent } from "./test_event";

// Milliseconds between two updates of the checklist: the least, after a change, and the most, when all stays the same.
const INTERVAL = 3000;
const LONGEST_INTERVAL = 15000;

/** What changes when a step does. Texts do not count: they say how long ago something was. */
function outline(steps) {
    return steps.map((step) => `${step.name} ${step.state}`).join();
}

/** The checklist from a fresh installation to a salesperson who sees a customer. It updates itself. */
export class GettingStarted extends Component {
    static template = "miasalud_crm.GettingStarted";
    static components = { Layout, TestEvent };
    static props = { ...standardActionServiceProps };

    icons = {
        done: "fa-check-circle text-success",
        todo: "fa-circle-o text-muted",
        skipped: "fa-minus-circle text-muted",
        warning: "fa-exclamation-triangle text-warning",
    };
    names = { done: _t("Done"), todo: _t("To do"), skipped: _t("Not needed"), warning: _t("Needs attention") };

    setup() {
        this.action = useService("action");
        this.dialog = useService("dialog");
        this.notification = useService("notification");
        this.orm = useService("orm");
        this.state = useState({ steps: [], lost: false });
        this.interval = INTERVAL;
        // A hidden page asks for nothing; a user who comes back to it sees the present state at once.
        useExternalListener(document, "visibilitychange", () =>
            document.hidden ? browser.clearTimeout(this.timer) : this.load()
        );
        onWillStart(() => this.load());
        onWillDestroy(() => {
            this.isDestroyed = true;
            browser.clearTimeout(this.timer);
        });
    }

    get doneCount() {
        return this.state.steps.filter((step) => ["done", "skipped"].includes(step.state)).length;
    }

    get progress() {
        const values = { done: this.doneCount, all: this.state.steps.length };
        return _t("%(done)s of %(all)s steps done", values);
    }

    /** Load the checklist, now and again after a while. A failure shows no dialog, since the next call may work. */
    async load() {
        browser.clearTimeout(this.timer);
        try {
            const steps = await this.orm.silent.call("manychat.setup", "checklist", []);
            const same = outline(steps) === outline(this.state.steps);
            this.interval = same ? Math.min(this.interval * 1.5, LONGEST_INTERVAL) : INTERVAL;
            this.state.steps = steps;
            this.state.lost = false;
        } catch (error) {
            if (!this.state.steps.length) {
                throw error;
            }
            this.state.lost = true;
        }
        if (!this.isDestroyed && !document.hidden) {
            browser.clearTimeout(this.timer);
            this.timer = browser.setTimeout(() => this.load(), this.interval);
        }
    }

    /** The look of one of a step's buttons: the first one of the next open step has the colour. */
    look(step, isFirst) {
        return step.is_next && isFirst ? "btn-primary" : "btn-secondary";
    }

    /** Open the action of a step's button, or call its method and show what that says. */
    async run({ action, method }) {
        const shown = action || (await this.orm.call("manychat.setup", method, []));
        if (shown) {
            await this.action.doAction(shown);
        }
        // A server action or a method may have changed a step's state.
        if (!this.isDestroyed) {
            await this.load();
        }
    }

    async skip(step, skipped) {
        await this.orm.call("manychat.setup", "skip", [step.name, skipped]);
        await this.load();
    }

    /** Copy the message to an administrator; show it where the browser lets no page copy, as without https. */
    async ask(step) {
        try {
            await browser.navigator.clipboard.writeText(step.ask);
        } catch {
            this.dialog.add(AlertDialog, { title: _t("For your administrator"), body: step.ask, contentClass: "o_manychat_ask" });
            return;
        }
        this.notification.add(_t("Copied. Send it to your administrator."), { type: "success" });
    }
}

registry.category("actions").add("miasalud_crm.getting_started", GettingStarted);
