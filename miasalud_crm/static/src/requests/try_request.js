import { Component, onWillUpdateProps, useState } from "@odoo/owl";
import { useService } from "@web/core/utils/hooks";

/** Sends a body for an invented person to the server, which answers as the webhook does to a dry run. */
export class TryRequest extends Component {
    static template = "miasalud_crm.TryRequest";
    static props = { webhook: String, example: String };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ body: this.props.example, result: false, waiting: false });
        onWillUpdateProps((next) => {
            if (next.webhook !== this.props.webhook || next.example !== this.props.example) {
                this.restore(next.example);
            }
        });
    }

    get isChanged() {
        return this.state.body !== this.props.example;
    }

    get answer() {
        return JSON.stringify(this.state.result.answer, null, 2);
    }

    restore(example) {
        this.asked = null;
        Object.assign(this.state, { body: example, result: false, waiting: false });
    }

    async try() {
        const asked = (this.asked = {});
        Object.assign(this.state, { waiting: true, result: false });
        try {
            const { webhook } = this.props;
            const result = await this.orm.call("manychat.request", "try_request", [webhook, this.state.body]);
            if (asked === this.asked) {
                this.state.result = result;
            }
        } finally {
            if (asked === this.asked) {
                this.state.waiting = false;
            }
        }
    }
}
