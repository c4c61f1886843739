"""The resources of a client: one for each module of the contract, the same for both clients."""

from __future__ import annotations

from typing import Generic

from isolet.contract.agent_model import AgentModel
from isolet.contract.backups import Backups
from isolet.contract.database import Database
from isolet.contract.deliveries import Deliveries
from isolet.contract.executions import Executions
from isolet.contract.flows import Flows
from isolet.contract.functions import Functions
from isolet.contract.invocations import Invocations
from isolet.contract.keys import Keys
from isolet.contract.kv import Kv
from isolet.contract.limits import Limits
from isolet.contract.logs import Logs
from isolet.contract.master_key import MasterKey
from isolet.contract.operations import Caller, Mode
from isolet.contract.projects import Projects
from isolet.contract.realtime import Realtime
from isolet.contract.schedules import Schedules
from isolet.contract.secrets import Secrets
from isolet.contract.stores import Stores
from isolet.contract.tokens import Tokens
from isolet.contract.tools import Tools
from isolet.contract.usage import Usage
from isolet.contract.variables import Variables
from isolet.contract.webhook_secrets import WebhookSecrets


class Resources(Generic[Mode]):
    def __init__(self, caller: Caller) -> None:
        self.agent_model: AgentModel[Mode] = AgentModel(caller)
        self.backups: Backups[Mode] = Backups(caller)
        self.database: Database[Mode] = Database(caller)
        self.deliveries: Deliveries[Mode] = Deliveries(caller)
        self.executions: Executions[Mode] = Executions(caller)
        self.flows: Flows[Mode] = Flows(caller)
        self.functions: Functions[Mode] = Functions(caller)
        self.invocations: Invocations[Mode] = Invocations(caller)
        self.keys: Keys[Mode] = Keys(caller)
        self.kv: Kv[Mode] = Kv(caller)
        self.limits: Limits[Mode] = Limits(caller)
        self.logs: Logs[Mode] = Logs(caller)
        self.master_key: MasterKey[Mode] = MasterKey(caller)
        self.projects: Projects[Mode] = Projects(caller)
        self.realtime: Realtime[Mode] = Realtime(caller)
        self.schedules: Schedules[Mode] = Schedules(caller)
        self.secrets: Secrets[Mode] = Secrets(caller)
        self.stores: Stores[Mode] = Stores(caller)
        self.tokens: Tokens[Mode] = Tokens(caller)
        self.tools: Tools[Mode] = Tools(caller)
        self.usage: Usage[Mode] = Usage(caller)
        self.variables: Variables[Mode] = Variables(caller)
        self.webhook_secrets: WebhookSecrets[Mode] = WebhookSecrets(caller)
