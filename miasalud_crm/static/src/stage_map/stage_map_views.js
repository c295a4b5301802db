import { registry } from "@web/core/registry";
import { user } from "@web/core/user";
import { useService } from "@web/core/utils/hooks";
import { ConfirmationDialog } from "@web/core/confirmation_dialog/confirmation_dialog";
import { _t } from "@web/core/l10n/translation";
import { formView } from "@web/views/form/form_view";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { KanbanRenderer } from "@web/views/kanban/kanban_renderer";
import { listView } from "@web/views/list/list_view";
import { ListRenderer } from "@web/views/list/list_renderer";
import { Component, onWillStart, status } from "@odoo/owl";

const MODEL = "manychat.stage.map";

/** A banner above the stage map: how many stages have arrived that are not mapped. */
export class OpenAliases extends Component {
    static template = "miasalud_crm.OpenAliases";
    static props = {};

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.open = { aliases: 0, events: 0 };
        onWillStart(async () => {
            const mayMap = await user.checkAccessRight(MODEL, "write");
            // The user may have left the page meanwhile. A call of a destroyed component is an error for them to see.
            if (mayMap && status(this) !== "destroyed") {
                this.open = await this.orm.call(MODEL, "open_aliases");
            }
        });
    }

    show() {
        this.action.doAction("miasalud_crm.manychat_stage_alias_action");
    }
}

/** A controller that says which events will wait before it archives or deletes rows, and that offers swaps. */
const stageMapController = (Controller) =>
    class extends Controller {
        setup() {
            super.setup();
            this.stageMap = useService("orm");
            this.dialogs = useService("dialog");
            this.consequences = false;
        }

        // Archive and delete

        getStaticActionMenuItems() {
            const items = super.getStaticActionMenuItems();
            for (const name of ["archive", "delete"]) {
                const proceed = items[name]?.callback;
                if (proceed) {
                    items[name].callback = async () => {
                        const { root } = this.model;
                        const ids = root.getResIds ? await root.getResIds(true) : [root.resId];
                        this.consequences = await this.stageMap.call(MODEL, "get_consequences", [ids, name === "delete"]);
                        return proceed();
                    };
                }
            }
            return items;
        }

        get archiveDialogProps() {
            return this.withConsequences(super.archiveDialogProps);
        }

        get deleteConfirmationDialogProps() {
            return this.withConsequences(super.deleteConfirmationDialogProps);
        }

        withConsequences(props) {
            return this.consequences ? { ...props, body: this.consequences } : props;
        }

        // Swap

        async onWillSaveRecord(record, changes) {
            const proceed = await super.onWillSaveRecord(record, changes);
            if (proceed === false || !record.resId) {
                return proceed;
            }
            const swap = await this.stageMap.call(MODEL, "get_swap", [[record.resId], changes]);
            if (!swap) {
                return proceed;
            }
            const isWanted = await new Promise((resolve) => {
                this.dialogs.add(
                    ConfirmationDialog,
                    {
                        title: _t("Swap two rows"),
                        body: swap.question,
                        confirmLabel: _t("Swap"),
                        confirm: () => resolve(true),
                        cancel: () => resolve(false),
                    },
                    { onClose: () => resolve(false) }
                );
            });
            if (!isWanted) {
                return false;
            }
            await this.stageMap.call(MODEL, "swap", [[record.resId], changes]);
            this.swappedWith = swap.row_id;
            return proceed;
        }

        async onRecordSaved(record, changes) {
            await super.onRecordSaved(record, changes);
            const other = (this.model.root.records || []).find(({ resId }) => resId === this.swappedWith);
            this.swappedWith = false;
            // Not awaited: it begins when the record is saved.
            other?.load();
        }
    };

class StageMapListRenderer extends ListRenderer {
    static template = "miasalud_crm.StageMapListRenderer";
    static components = { ...ListRenderer.components, OpenAliases };
}

class StageMapKanbanRenderer extends KanbanRenderer {
    static template = "miasalud_crm.StageMapKanbanRenderer";
    static components = { ...KanbanRenderer.components, OpenAliases };
}

const views = registry.category("views");
views.add("manychat_stage_map_list", {
    ...listView,
    Controller: stageMapController(listView.Controller),
    Renderer: StageMapListRenderer,
});
views.add("manychat_stage_map_kanban", { ...kanbanView, Renderer: StageMapKanbanRenderer });
views.add("manychat_stage_map_form", { ...formView, Controller: stageMapController(formView.Controller) });
