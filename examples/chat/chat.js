// A page, and one room for all who have it open. The room is in the memory of one instance.
import page from "./page.html";

const room = new Set();

export default {
  fetch(request) {
    if (request.headers.get("upgrade") !== "websocket") {
      return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    const member = join(server);
    server.addEventListener("message", ({ data }) => say(String(data).slice(0, 500)));
    server.addEventListener("close", () => member.leave());
    server.addEventListener("error", () => member.leave());
    say(`${room.size} here`);
    return new Response(null, { status: 101, webSocket: client });
  },
};

function say(text) {
  for (const member of room) member.tell(text);
}

// Only the call that accepted a socket may send on it. So each has a box for what others say, and empties it itself.
function join(socket) {
  const box = [];
  let wake = () => {};
  const member = {
    tell(text) {
      box.push(text);
      wake();
    },
    leave() {
      room.delete(member);
      wake();
    },
  };
  room.add(member);
  send();
  return member;

  async function send() {
    while (room.has(member)) {
      for (const text of box.splice(0)) socket.send(text);
      await new Promise((resolve) => (wake = resolve));
    }
  }
}
