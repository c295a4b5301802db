"""The funnel: from a figure to the opportunities behind it."""

from tests.world import Chat, World

from .conftest import SignIn


def test_from_the_pivot_to_the_opportunities(sign_in: SignIn, world: World, chat: Chat) -> None:
    world.settled(chat.enters(17), chat.enters(19, minute=1))
    odoo = sign_in("manager")
    odoo.open("miasalud_crm.manychat_funnel_action", view="pivot")
    odoo.click(".o_pivot_cell_value >> nth=0")  # the total
    assert odoo.rows()
    odoo.click("button[name=action_open_leads]")
    assert odoo.page.locator(".o_data_row .o_data_cell[name=stage_id]").count()
    odoo.open("miasalud_crm.manychat_funnel_action", view="pivot")
    odoo.click(".o_pivot_cell_value >> nth=0")
    odoo.click(".o_data_row .o_data_cell[name=map_id] >> nth=0")
    assert odoo.page.locator(".o_form_view .o-mail-Chatter").count() == 1


def test_from_a_bar_of_the_graph_to_its_rows(sign_in: SignIn, world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    odoo = sign_in("manager")
    odoo.open("miasalud_crm.manychat_funnel_action")
    canvas = odoo.page.locator(".o_graph_renderer canvas")
    box = canvas.bounding_box()
    assert box
    # Bars stand along the whole width, on the axis at the bottom: look for the first one from the left.
    for step in range(2, 40):
        canvas.click(position={"x": box["width"] * step / 40, "y": box["height"] * 0.85})
        odoo.settle()
        if odoo.page.locator(".o_list_view").count():
            break
    assert odoo.rows()
