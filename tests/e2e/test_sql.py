"""Contacts and campaigns: from the webhook into SQL, and nowhere else."""

from .conftest import ASSIGNMENT, CONTACT, UPDATE, System


def test_a_contact_is_stored_in_sql_only(system: System, manychat_id: str) -> None:
    event_id = system.send(
        CONTACT,
        manychat_id=manychat_id,
        nombre_lead="Ana",
        apellido_lead="García",
        whatsapp="+521234567891",
        datetime_suscripcion="2025-06-10T10:00:00Z",
        datetime_actual="2025-06-10T10:05:00Z",
        ultimo_estado="Nuevo Lead",
        canal_entrada="Facebook",
        estado_inicial="Nuevo",
    )
    assert system.settle(event_id) == ["stored"]
    (contact,) = system.rows("contacts", manychat_id=manychat_id)
    assert (contact.first_name, contact.last_name, contact.last_state) == ("Ana", "García", "Nuevo Lead")
    assert system.leads(manychat_id) == []


def test_a_campaign_assignment_and_its_update_meet_in_one_row(system: System, manychat_id: str) -> None:
    first = system.send(
        ASSIGNMENT,
        manychat_id=manychat_id,
        campaign_id=85,
        comercial_id="700",
        medico_id="101",
        datetime_actual="2025-06-10T10:10:00Z",
        ultimo_estado="Asignado a campaña",
        tipo_asignacion="medico",
        summary="Preguntó por el producto X.",
    )
    system.settle(first)
    second = system.send(
        UPDATE,
        manychat_id=manychat_id,
        campaign_id=85,
        medical_advisor_id=102,
        medical_assignment_date="2025-06-10T11:00:00Z",
        last_state="Asignado a médico",
        summary="Agendó consulta.",
    )
    assert system.settle(second) == ["stored"]
    (contact,) = system.rows("contacts", manychat_id=manychat_id)
    (row,) = system.rows("campaign_contacts", contact_id=contact.id)
    assert (row.campaign_id, row.medical_advisor_id, row.last_state) == (85, 102, "Asignado a médico")
    assert [state.state for state in system.rows("contact_states", contact_id=contact.id)] == [
        "Asignado a campaña",
        "Asignado a médico",
    ]
