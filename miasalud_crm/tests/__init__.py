from . import test_advisor
from . import test_api_key
from . import test_chatter
from . import test_erase
from . import test_event_log
from . import test_event_story
from . import test_funnel
from . import test_hooks
from . import test_identity
from . import test_import
from . import test_manychat_apply
from . import test_relay
from . import test_requests
from . import test_rights
<<<<<<< HEAD
from . import test_setup
=======
from . import test_stage_history
>>>>>>> main
from . import test_stage_map
from . import test_test_event
from . import test_stage_map_screen
from . import test_webhook
from . import test_translations
