// A click on the image fills in the point to annotate.
const picker = document.querySelector(".picker");

picker?.addEventListener("click", (event) => {
  const scale = picker.naturalWidth / picker.clientWidth;
  document.querySelector("#id_x").value = Math.floor(event.offsetX * scale);
  document.querySelector("#id_y").value = Math.floor(event.offsetY * scale);
});
