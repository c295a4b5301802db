import { registry } from "@web/core/registry";
import { user } from "@web/core/user";
import { useService } from "@web/core/utils/hooks";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { KanbanRenderer } from "@web/views/kanban/kanban_renderer";
import { listView } from "@web/views/list/list_view";
import { ListRenderer } from "@web/views/list/list_renderer";
import { Component, onWillStart, status } from "@odoo/owl";

/** A banner above the stage map: how many stages have arrived that are not mapped. */
export class OpenAliases extends Component {
    static template = "miasalud_crm.OpenAliases";
    static props = {};

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.open = { aliases: 0, events: 0 };
        onWillStart(async () => {
            const mayMap = await user.checkAccessRight("manychat.stage.map", "write");
            // The user may have left the page meanwhile. A call of a destroyed component is an error for them to see.
            if (mayMap && status(this) !== "destroyed") {
                this.open = await this.orm.call("manychat.stage.map", "open_aliases");
            }
        });
    }

    show() {
        this.action.doAction("miasalud_crm.manychat_stage_alias_action");
    }
}

class StageMapListRenderer extends ListRenderer {
    static template = "miasalud_crm.StageMapListRenderer";
    static components = { ...ListRenderer.components, OpenAliases };
}

class StageMapKanbanRenderer extends KanbanRenderer {
    static template = "miasalud_crm.StageMapKanbanRenderer";
    static components = { ...KanbanRenderer.components, OpenAliases };
}

registry.category("views").add("manychat_stage_map_list", { ...listView, Renderer: StageMapListRenderer });
registry.category("views").add("manychat_stage_map_kanban", { ...kanbanView, Renderer: StageMapKanbanRenderer });
