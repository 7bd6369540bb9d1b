// Node's own WebSocket: join a room, say a word for each that is heard, and leave.
// Each line of the output is what a person would see.

const [url, room, word] = process.argv.slice(2);
const socket = new WebSocket(url, ["roomactors.v1.json", "bearer.c2VjcmV0"]);

function say(message) {
  socket.send(JSON.stringify(message));
}

socket.addEventListener("open", () => console.log(`open ${socket.protocol}`));
socket.addEventListener("error", () => console.log("error"));
socket.addEventListener("close", (event) => console.log(`close ${event.code} ${event.wasClean}`));
socket.addEventListener("message", (event) => {
  const frame = JSON.parse(event.data);
  if (frame.type === "welcome") {
    say({ type: "join", room, ref: 1 });
  } else if (frame.type === "joined") {
    console.log(`joined ${frame.count}`);
  } else if (frame.type === "message" && frame.data !== word) {
    console.log(`heard ${frame.data}`);
    say({ type: "broadcast", room, data: word, ref: 2 });
  } else if (frame.type === "ack") {
    socket.close(1000);
  }
});
