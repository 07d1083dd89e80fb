"""The differences that are not ours to mend."""

from allowed_copies import COPIES
from allowed_events import CONFIGURED
from allowed_listings import LISTED
from allowed_objects import OBJECTS
from allowed_sqs import QUEUES
from allowed_uploads import UPLOADS

ALLOWED = OBJECTS + COPIES + UPLOADS + LISTED + CONFIGURED + QUEUES
