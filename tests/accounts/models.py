"""User models of other sites."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Manager(BaseUserManager):
    def create_user(self, username, **fields):
        return self.create(**{self.model.USERNAME_FIELD: username}, **fields)


class FoldingManager(Manager):
    def get_by_natural_key(self, username):
        return self.get(**{f"{self.model.USERNAME_FIELD}__iexact": username})


class Account(AbstractBaseUser):
    """The attributes that the admin needs, without a name."""

    is_staff = True

    objects = Manager()

    class Meta:
        abstract = True

    def has_perm(self, permission, obj=None):
        return True

    def has_module_perms(self, app):
        return True


class MailAccount(Account):
    """A UUID as the primary key; logs in with a mail address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"


class NumberAccount(Account):
    """Logs in with a number."""

    number = models.PositiveIntegerField(unique=True)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "number"


class TextAccount(Account):
    """A text as the primary key, and no field `is_active`."""

    code = models.CharField(max_length=40, primary_key=True)

    USERNAME_FIELD = "code"


class FoldingAccount(Account):
    """Logs in without regard to case."""

    login = models.CharField(max_length=40, unique=True)
    is_active = models.BooleanField(default=True)

    objects = FoldingManager()

    USERNAME_FIELD = "login"
