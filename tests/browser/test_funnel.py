"""The funnel: from a figure to the opportunities behind it."""

from tests.world import Chat, World

from .conftest import SignIn


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
