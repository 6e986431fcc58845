"""The label review: a local page on which a person decides about doubtful pictures, one key each."""

from deeper.review.server import ReviewServer as ReviewServer
from deeper.review.session import Session as Session
from deeper.review.session import open_session as open_session
