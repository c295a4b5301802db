from . import health
from . import people
from . import webhook
