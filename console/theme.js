/* theme.js: the chosen colours, before anything is drawn. Without a choice they are the system's. */
try {
    const theme = localStorage.getItem("selvage-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
    /* storage is switched off: the system's */
}
