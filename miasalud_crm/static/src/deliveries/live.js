import { Component, onMounted, onWillUnmount } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { registry } from "@web/core/registry";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

// Milliseconds until the first update, and the longest pause: each is longer than the one before.
const FIRST = 1500;
const LONGEST = 10000;

/**
 * Loads the record of a form again and again, as long as the widget is there. The view takes it away when the record is
 * finished, and the user when they leave the page. A hidden page is not updated.
 */
export class Live extends Component {
    static template = "miasalud_crm.Live";
    static props = standardWidgetProps;

    setup() {
        onMounted(() => this.wait(FIRST));
        onWillUnmount(() => {
            this.isOver = true;
            browser.clearTimeout(this.timer);
        });
    }

    wait(pause) {
        this.timer = browser.setTimeout(() => this.update(pause), pause);
    }

    async update(pause) {
        const { record } = this.props;
        if (!document.hidden && !record.dirty) {
            try {
                await record.load();
            } catch {
                // The server or the network is away for a moment. The next update shows what has changed meanwhile.
            }
        }
        if (!this.isOver) {
            this.wait(Math.min(pause * 1.3, LONGEST));
        }
    }
}

registry.category("view_widgets").add("manychat_live", { component: Live });
