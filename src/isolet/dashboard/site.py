"""The dashboard's application: who is signed in, which page answers, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from isolet import errors
from isolet.access import rates
from isolet.access.lent_keys import LentKeys
from isolet.access.sessions import Sessions
from isolet.access.sign_in_links import SignInLinks
from isolet.client.errors import ApiError, Refused, Unauthenticated
from isolet.dashboard import guards
from isolet.dashboard.in_process import Application, InProcess, Origin
from isolet.dashboard.rendering import Rendering
from isolet.dashboard.sections import Page, Section
from isolet.dashboard.visits import Visit
from isolet.domain.access import Principal
from isolet.domain.platform_pages import PlatformPages, origin_of
from isolet.domain.sessions import Session
from isolet.errors import Forbidden, IsoletError, NotFound, TooLarge, TooManyRequests
from isolet.ids import ProjectId
from isolet.routing.routes import Routes
from isolet.threads import work_for

LOGIN = "/dashboard/login"
_USED = "This link was used already, or is too old: sign in with a key, or start the server again"
# Anybody may send a cookie that looks like a session's: all of them together get what one project gets of the threads.
_VISITORS = ProjectId("visitors")
# Of an address that is asked for the second time.
_ASKED = "from"
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}


class Desk(Struct, frozen=True, kw_only=True):
    """What the dashboard is made of. `calls` is the application of the API, without its gates."""

    pages: PlatformPages
    calls: Application
    lent_keys: LentKeys
    sessions: Sessions
    links: SignInLinks
    routes: Routes
    built: Path


class Site(Struct, frozen=True, kw_only=True):
    desk: Desk
    rendering: Rendering

    def routes_of(self, sections: list[Section]) -> list[Route]:
        """Those of every page, and of signing in."""
        found = [
            Route("/dashboard", self._home),
            Route("/dashboard/", self._home),
            Route(LOGIN, self._show_login, methods=["GET"]),
            Route(LOGIN, self._log_in, methods=["POST"]),
            Route("/dashboard/logout", self._log_out, methods=["POST"]),
            Route("/dashboard/assets/{name}", self._asset),
        ]
        for section in sections:
            for page in section.pages:
                method = "POST" if page.change is not None else "GET"
                found.append(Route(section.prefix + page.path, self._serving(section, page), methods=[method]))
        return [*found, Route("/dashboard/{rest:path}", self._missing, methods=["GET", "POST"])]

    async def signed_in(self, request: Request) -> tuple[Session, Principal] | None:
        """The first good session of those that the request has."""
        work_for(_VISITORS)
        for token in guards.session_tokens(request):
            session = await self.desk.sessions.find(token)
            principal = None if session is None else self.desk.sessions.principal(session)
            if session is not None and principal is not None:
                return session, principal
        return None

    def api_of(self, request: Request, session: Session, *, changes: bool = True) -> InProcess:
        """The API with the rights that the session has while it lasts; for a request that changes something, or not."""
        sessions = self.desk.sessions
        base = self.desk.pages.api_base(request.headers.get("host", ""))
        scheme, _, host = origin_of(base).partition("://")
        return InProcess(
            self.desk.calls,
            self.desk.lent_keys,
            lambda: sessions.principal(session) if sessions.is_open(session) else None,
            Origin(host=host.encode(), client=request.scope.get("client"), scheme=scheme),
            None if changes else {},
        )

    def home_slug(self, principal: Principal) -> str:
        routes = self.desk.routes
        return routes.default_project.slug if principal.project_id is None else routes.slug_of(principal.project_id)

    # Pages.

    def _serving(self, section: Section, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            found = await self.signed_in(request)
            if found is None:
                return self._to_login(request)
            visit = self._visit(request, *found, section, page)
            try:
                rates.count(request.scope, visit.principal.project_id)
                self._check_project(visit)
                return await self._answer(visit, page)
            except Unauthenticated:
                return self._to_login(request)
            except ApiError as exc:
                status = exc.status if isinstance(exc, Refused) else 502
                return await _failed(visit, status, _said(exc), exc.code)
            except IsoletError as exc:
                reply = await _failed(visit, _status(exc), exc.message, exc.code)
                reply.headers.update(later_of(exc))
                return reply

        return serve

    async def _answer(self, visit: Visit, page: Page) -> Response:
        if page.change is None:
            return await page.show(visit) if page.show is not None else await self._missing(visit.request)
        guards.check_origin(visit.request, self.desk.pages)
        form = await guards.read_form(visit.request)
        guards.check_token(form.pop(guards.TOKEN_FIELD, None), visit.form_token)
        return await page.change(visit, form)

    def _visit(self, request: Request, session: Session, principal: Principal, section: Section, page: Page) -> Visit:
        return Visit(
            request=request,
            session=session,
            sessions=self.desk.sessions,
            principal=principal,
            api=self.api_of(request, session, changes=page.change is not None),
            section=section,
            page=page,
            form_token=self.desk.sessions.form_token(session),
            home_slug=self.home_slug(principal),
            api_url=self.desk.pages.api_base(request.headers.get("host", "")),
            rendering=self.rendering,
        )

    def _check_project(self, visit: Visit) -> None:
        """Raises NotFound for a project that there is not, or that the session does not see."""
        project = self.desk.routes.project(visit.slug)
        if project is None or not visit.principal.sees(project.id):
            raise NotFound("There is no such project")

    async def _missing(self, request: Request) -> Response:
        if await self.signed_in(request) is None:
            return self._to_login(request)
        return self._plain("There is no such page", 404)

    def _plain(self, message: str, status: int) -> Response:
        return HTMLResponse(self.rendering.text("plain_error.html", {"message": message, "status": status}), status)

    # Signing in and out.

    async def _home(self, request: Request) -> Response:
        found = await self.signed_in(request)
        if found is None:
            return self._to_login(request)
        return RedirectResponse(f"/dashboard/projects/{self.home_slug(found[1])}/functions", 303)

    def _to_login(self, request: Request) -> Response:
        is_link = request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site"
        if is_link and _ASKED not in request.query_params:
            # A link on another site: browsers leave the cookie out, and send it when this page asks again.
            address = request.url.include_query_params(**{_ASKED: "1"})
            text = self.rendering.text("again.html", {"address": f"{address.path}?{address.query}"})
            return HTMLResponse(text, headers={"cache-control": "no-store"})
        reply: Response = RedirectResponse(LOGIN, 303)
        if "hx-request" in request.headers:
            # What asked is a part of a page: the whole page is to go there.
            reply = Response(status_code=204, headers={"hx-redirect": LOGIN})
        return reply

    async def _show_login(self, request: Request) -> Response:
        code = request.query_params.get("code", "")
        if not code and await self.signed_in(request) is not None:
            return RedirectResponse("/dashboard/", 303)
        return self._login(200, code=code)

    def _login(self, status: int, *, code: str = "", error: str | None = None) -> Response:
        text = self.rendering.text("login.html", {"code": code, "error": error})
        return HTMLResponse(text, status, headers={"cache-control": "no-store"})

    async def _log_in(self, request: Request) -> Response:
        try:
            guards.check_origin(request, self.desk.pages)
            form = await guards.read_form(request, guards.LOGIN_MAX_BYTES)
            token = await self._open(request, form)
        except Forbidden as exc:
            return self._plain(exc.message, 403)
        except IsoletError as exc:
            refused = self._login(401 if exc.code == "unauthenticated" else _status(exc), error=exc.message)
            refused.headers.update(later_of(exc))
            return refused
        reply = RedirectResponse("/dashboard/", 303)
        guards.set_session(reply, token, self.desk.pages)
        return reply

    async def _open(self, request: Request, form: dict[str, str]) -> str:
        """Raises Unauthenticated, TooManyRequests."""
        sessions, agent = self.desk.sessions, request.headers.get("user-agent", "")
        if "code" not in form:
            key = form.get("key", "").strip()
            if (principal := self.desk.routes.principal(key)) is not None:
                rates.count(request.scope, principal.project_id)
            return await sessions.open(key, agent)
        if not self.desk.links.use(form["code"]):
            raise errors.Unauthenticated(_USED)
        return await sessions.open_root(agent)

    async def _log_out(self, request: Request) -> Response:
        found = await self.signed_in(request)
        try:
            guards.check_origin(request, self.desk.pages)
            if found is not None:
                session, principal = found
                form = await guards.read_form(request, guards.LOGIN_MAX_BYTES)
                guards.check_token(form.get(guards.TOKEN_FIELD), self.desk.sessions.form_token(session))
                await self.desk.sessions.end(principal, session.id)
        except IsoletError as exc:
            return self._plain(exc.message, _status(exc))
        reply = RedirectResponse(LOGIN, 303)
        guards.set_session(reply, None, self.desk.pages)
        return reply

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = {path.name for path in self.desk.built.iterdir() if path.suffix in (".js", ".css", ".svg")}
        return FileResponse(self.desk.built / name, headers=_FOREVER) if name in known else Response("Not found", 404)


async def _failed(visit: Visit, status: int, message: str, code: str) -> Response:
    reply = await visit.render("error.html", status=status, message=message, code=code)
    if "hx-request" in visit.request.headers:
        # What asked is a part of a page, which stays as it is: the message goes to the head of the page.
        swap = "innerHTML ignoreTitle:true"
        reply.headers.update({"hx-retarget": "#trouble", "hx-reselect": ".notice-error", "hx-reswap": swap})
    return reply


def _said(error: ApiError) -> str:
    return error.text if isinstance(error, Refused) else error.message


def later_of(error: IsoletError) -> dict[str, str]:
    """The header that says when to come again, where an error has that."""
    return {"retry-after": str(error.retry_after_s)} if isinstance(error, TooManyRequests) else {}


def _status(error: IsoletError) -> int:
    if isinstance(error, TooManyRequests):
        return 429
    if isinstance(error, Forbidden):
        return 403
    if isinstance(error, NotFound):
        return 404
    return 413 if isinstance(error, TooLarge) else 400
