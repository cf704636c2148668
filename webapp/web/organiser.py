from flask import Blueprint

blueprint = Blueprint("organiser", __name__)
