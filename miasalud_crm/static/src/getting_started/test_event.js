import { Component, onWillDestroy, onWillStart, useState } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { _t } from "@web/core/l10n/translation";
import { useService } from "@web/core/utils/hooks";

const WEBHOOK = "/api/v1/manychat/webhook/crm-opportunity";
// Milliseconds between two updates of a running test.
const INTERVAL = 700;

/**
 * Sends two events to the webhook, like a bot, and follows them until the opportunity of an invented person has moved.
 * The server reports their progress; only the browser knows the webhook's answers.
 */
export class TestEvent extends Component {
    static template = "miasalud_crm.TestEvent";
    static props = { onEvent: Function };

    icons = {
        done: "fa-check-circle text-success",
        running: "fa-spinner fa-spin text-primary",
        stopped: "fa-exclamation-triangle text-warning",
        todo: "fa-circle-o text-muted",
    };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({ stages: [], first: false, second: false, keep: false, leftovers: 0 });
        this.reset();
        onWillStart(async () => {
            this.state.leftovers = await this.orm.call("manychat.test.event", "leftovers", []);
            this.state.stages = await this.orm.call("manychat.test.event", "stages", []);
            this.state.first = this.state.stages[0]?.id;
            this.state.second = this.state.stages[1]?.id;
        });
        onWillDestroy(() => this.leave());
    }

    reset() {
        // status: idle, running, moved (it went all the way), refused (by the webhook), deleted
        Object.assign(this.state, { status: "idle", events: [], leadId: false, refusal: "" });
    }

    get stopped() {
        return this.state.events.some((hops) => hops.some((hop) => hop.state === "stopped"));
    }

    get canStart() {
        return this.state.first && this.state.second && this.state.first !== this.state.second;
    }

    keepIt(ev) {
        this.state.keep = ev.target.checked;
    }

    choose(which, ev) {
        this.state[which] = parseInt(ev.target.value);
    }

    async start() {
        await this.leave();
        this.reset();
        this.state.status = "running";
        try {
            this.test = await this.orm.call("manychat.test.event", "start", [this.state.first, this.state.second]);
        } catch (error) {
            this.state.status = "idle";
            throw error;
        }
        await this.send(0);
    }

    /** Send the first or the second event, then follow it. */
    async send(index) {
        const test = this.test;
        this.sent = index + 1;
        let refusal = "";
        try {
            const answer = await browser.fetch(WEBHOOK, {
                method: "POST",
                // Like a bot: it has no session from which Odoo knows the database.
                credentials: "omit",
                headers: { "Content-Type": "application/json", "X-API-KEY": test.key },
                body: JSON.stringify(test.bodies[index]),
            });
            if (answer.status !== 200) {
                refusal = await this.explain(answer);
            }
        } catch {
            refusal = _t("Your browser could not reach the webhook. Check your connection, then try again.");
        }
        if (test !== this.test) {
            return;
        }
        this.state.refusal = refusal;
        await this.follow();
        this.props.onEvent();
    }

    async explain(answer) {
        if (answer.status === 404) {
            return _t(
                "The webhook was not found (404). If the server has several databases, set db_name in odoo.conf to the " +
                    "one that serves the webhooks."
            );
        }
        if (answer.status === 401) {
            return _t("The test took too long, and its key is no longer valid. Start a new one.");
        }
        let message = answer.statusText;
        try {
            message = (await answer.json()).message;
        } catch {
            // A proxy in between may answer in another format.
        }
        return _t("The webhook answered %(status)s: %(message)s", { status: answer.status, message });
    }

    async follow() {
        const test = this.test;
        browser.clearTimeout(this.timer);
        if (!test) {
            return;
        }
        let progress;
        try {
            progress = await this.orm.silent.call("manychat.test.event", "progress", [[test.id]]);
        } catch {
            progress = false; // Odoo is away for a moment
        }
        if (test !== this.test) {
            return; // a new one began meanwhile, or the page was left
        }
        if (progress) {
            this.show(progress);
            if (this.state.refusal) {
                this.state.status = "refused";
                return this.leave();
            }
            if (progress.applied === 2) {
                this.state.status = "moved";
                this.props.onEvent();
                return this.leave();
            }
            if (progress.applied === 1 && this.sent === 1) {
                return this.send(1);
            }
        }
        this.timer = browser.setTimeout(() => this.follow(), INTERVAL);
    }

    show(progress) {
        const waiting = progress.events[progress.received]?.[0];
        if (waiting && this.sent > progress.received) {
            waiting.state = this.state.refusal ? "stopped" : "running";
            waiting.text = this.state.refusal;
        }
        this.state.events = progress.events;
        this.state.leadId = progress.lead_id;
    }

    /** End the test: delete its key now, before it expires, and its opportunity unless the user wants to see it. */
    async leave() {
        browser.clearTimeout(this.timer);
        const test = this.test;
        if (test) {
            this.test = null;
            this.lastTestId = test.id;
            const kept = this.state.keep && this.state.status === "moved";
            await this.orm.silent.call("manychat.test.event", "finish", [[test.id]], { keep: kept });
            this.state.leadId = kept && this.state.leadId;
        }
    }

    openLead() {
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "crm.lead",
            res_id: this.state.leadId,
            views: [[false, "form"]],
        });
    }

    /** Delete what the test has created, and discard its waiting events. */
    async undo() {
        await this.leave();
        await this.orm.call("manychat.test.event", "delete_opportunity", [[this.lastTestId]]);
        this.reset();
        this.state.status = "deleted";
    }

    /** Delete what earlier tests have left: kept opportunities, and those of tests that were broken off. */
    async deleteLeftovers() {
        await this.orm.call("manychat.test.event", "delete_leftovers", []);
        this.state.leftovers = 0;
        this.state.status = "deleted";
    }
}
