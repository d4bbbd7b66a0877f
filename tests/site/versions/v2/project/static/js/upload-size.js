// Tell how much is about to be uploaded.
const files = document.querySelector("#id_files");

files.addEventListener("change", () => {
  const bytes = Array.from(files.files).reduce((sum, file) => sum + file.size, 0);
  document.querySelector("#upload-size").value = `${(bytes / 1e6).toFixed(1)} MB in all`;
});
