// Looks for news of the orders every two seconds, while somebody looks at the page.
const orders = document.getElementById("orders");

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(orders.dataset.address);
    if (!answer.ok) return;
    const text = await answer.text();
    // Replaced only when something changed, so that a link is not taken away under the pointer.
    if (text !== orders.shown) orders.innerHTML = orders.shown = text;
  } catch {
    // The server is away. The next look may find it.
  }
}

setInterval(look, 2000);
