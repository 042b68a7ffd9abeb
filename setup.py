"""What pyproject.toml cannot say: found packages, the guests directory, and an extension that may fail to build.

The accelerator is plain C without Python.h: it is compiled and packed like an extension module, but loaded with
ctypes by `sandbox.engine`, which looks for `_engine*.so` in its own directory (an editable install puts the library
there, and so does a wheel). It is optional: without a compiler the build goes on and the Python twin does its work.
"""

from pathlib import Path

from setuptools import Extension, find_packages, setup

ACCELERATOR = "sandbox/engine/_engine.c"

setup(
    packages=[*find_packages(include=["sandbox", "sandbox.*"]), "sandbox._guests"],
    package_dir={"sandbox._guests": "guests"},
    package_data={"sandbox": ["py.typed"], "sandbox._guests": ["**/*"]},
    ext_modules=[
        Extension(
            "sandbox.engine._engine",
            sources=[ACCELERATOR],
            depends=sorted(map(str, Path("sandbox/engine").glob("*.h"))),
            extra_compile_args=["-O2"],
            optional=True,
        ),
    ]
    if Path(ACCELERATOR).exists()
    else [],
    zip_safe=False,
)
