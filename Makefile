# make demo         set up, and run the three notebooks on synthesized data
# make test         set up, and run the tests, one more at a time than there are cores
# make test-quick   the same without notebooks, Ray, kills, benchmarks and mutated files: for the inner loop
# make lint         set up, and have ruff read the code
# make test-browser set up, and click through the notebooks and the page in Chromium (Debian's package chromium)
# make mutants      put faults in by mutmut, one at a time, and see which no test sees: [ARGS="freesound_tagging.lwlrap*"]
# make test-kaggle  run the Kaggle kernel with an older image's versions and no network (as root)
# make lab          open JupyterLab on the notebooks
# make prepare SOURCE=... DEST=...  lay out a data set of your own, or a public one, to be trained on: [ARGS="--test 0.1"]
# make train INPUT=...       train on the data set in INPUT: [MODEL=cnn-model-1|vgg16] [PROFILE=full|laptop|demo|mine.toml]
#                            [OUTPUT=folder] [FOLDS=10] [SEED=0]
#                            [EXECUTOR=ray: over the cluster of RAY_ADDRESS] [ARGS=--compiled: through torch.compile]
# make train-both INPUT=...  both networks; on several GPUs, or with EXECUTOR=ray, side by side
# make submission INPUT=...  tag the test clips with all trained networks: [OUTPUT=folder of the run] [WEIGHTS=folder]
# make score SUBMISSION=... TRUTH=...  score a submission, or what was heard when, by the labels that are known:
#                            [ARGS="--threshold 0.5"]
# make download INPUT=...    fetch the data set from Zenodo into INPUT: [ONLY="meta test"]
# make check INPUT=...       examine the data set in INPUT
# make kaggle USER=...       what Kaggle takes, the weights and the inference kernel, in build/kaggle: [WEIGHTS=folder]
#                            [TRAINING=both|cnn-model-1|vgg16: the training kernels in place of weights, SEED=0
#                            HOURS=11.5] [PROFILE=full|mine.toml: that they train, or of networks of your own]
# make app                   a page in the browser that tags sounds: [WEIGHTS=folder] [ARGS="--port 8000"]
# make space                 a Hugging Face Space of that page, in build/space: [WEIGHTS=folder] [PROFILE=mine.toml]
# make bench                 measure speed on this machine, on its GPU if it has one: [INPUT=recordings for two parts more]
# make gpu                   all that waits for a GPU, at most 8 minutes: [INPUT=recordings for the study]
# make rehearsal             the whole at the competition's size without arithmetic: [INPUT=folder with the real tables]
# make notebooks             execute the notebooks that are kept, on the demo data
# make docs                  the site: these pages, the notebooks and the reference, in build/docs
# make study INPUT=...       train the method and parts of it over seeds, and compare: [ARGS="--seeds 0 1"]

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INPUT ?= input
OUTPUT ?= .
WEIGHTS ?= $(OUTPUT)/weights
MODEL ?= cnn-model-1
PROFILE ?= full
SEED ?= 0
EXECUTOR ?= auto
DEMO := build/demo

# Torch's threads wait for each other by spinning, which costs all of a core beside another busy program; so they do not.
export OMP_WAIT_POLICY ?= PASSIVE

# Recipes take names of files from the environment, "$$INPUT", so that they may hold spaces and quotes.
export INPUT OUTPUT WEIGHTS SUBMISSION TRUTH SOURCE DEST PROFILE
# Notebooks run in this environment's kernel and draw their figures inline, whatever is set outside.
export JUPYTER_PATH := $(CURDIR)/$(VENV)/share/jupyter
unexport MPLBACKEND

.PHONY: demo test test-quick lint test-browser mutants test-kaggle lab prepare train train-both submission score download check kaggle app space bench gpu rehearsal study notebooks docs clean
.DELETE_ON_ERROR:

# The environment, made anew when the versions change.
$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

# Runs a notebook headless from its own folder: $(call execute,NAME,FOLDER OF THE EXECUTED COPY,PARAMETERS)
execute = $(BIN)/python -W ignore notebooks/run.py $(1) "$(2)" $(3)

demo: $(VENV)/installed
	$(call execute,training-cnn-model1,$(DEMO)/notebooks)
	$(call execute,training-vgg16,$(DEMO)/notebooks)
	$(call execute,inference-kernel,$(DEMO)/notebooks)
	@for model in cnn-model-1 vgg16; do echo; echo "$$model, cross-validated:"; cat $(DEMO)/work/$$model/table.txt; done
	@echo; echo "On the test clips:"; cat $(DEMO)/submission.scores.txt
	@echo; echo "The submission is $(DEMO)/submission.csv, the executed notebooks are in $(DEMO)/notebooks."

# Sounds are read in the process that asks for them, where a test does not ask for more.
PYTEST := OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1 $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

# By Python, as macOS has no nproc.
CORES = $$($(PYTHON) -IS -c 'import os; \
	print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')

# One process more than there are cores: some tests wait for processes of their own.
test: $(VENV)/installed
	$(PYTEST) -n $$(($(CORES) + 1)) $(ARGS)

test-quick: $(VENV)/installed
	@echo "Left out: notebooks, Ray, kills, benchmarks, mutated files, long sounds, imports, whole runs (make test has them)"
	$(PYTEST) -n auto -m "not slow" $(ARGS)

lint: $(VENV)/installed
	$(BIN)/python -m ruff check $(ARGS)

test-browser: $(VENV)/installed
	$(BIN)/python -m pip install --quiet 'playwright>=1.40'
	BROWSER_TEST=1 $(BIN)/python -m pytest tests/whole/test_browser.py tests/app/test_page_in_browser.py $(ARGS)

mutants: $(VENV)/installed
	$(BIN)/python -m pip install --quiet 'mutmut>=3.8'
	OMP_NUM_THREADS=1 $(BIN)/mutmut run $(ARGS)
	$(BIN)/python tests/mutants.py

OLDER := build/older-image

$(OLDER)/installed: tests/whole/kaggle-requirements.txt
	$(PYTHON) -m venv --clear $(OLDER)
	$(OLDER)/bin/python -m pip install --quiet -r tests/whole/kaggle-requirements.txt
	touch $@

test-kaggle: $(VENV)/installed $(OLDER)/installed
	KERNEL_PYTHON="$(CURDIR)/$(OLDER)/bin/python" $(BIN)/python -m pytest -rs tests/whole/test_kaggle.py $(ARGS)

lab: $(VENV)/installed
	$(BIN)/jupyter lab --notebook-dir=notebooks

prepare: $(VENV)/installed
	$(BIN)/python -m freesound_tagging.clips prepare "$${SOURCE:?which one? SOURCE=folder or table}" \
		"$${DEST:?where to? DEST=folder}" $(ARGS)

# Trains, then has the notebooks executed over the finished run. A profile that is a file names its network itself.
TRAIN = $(BIN)/python -W ignore -m freesound_tagging.training "$$INPUT" --output "$$OUTPUT" --weights "$$WEIGHTS" \
	--profile "$$PROFILE" --seed $(SEED) --executor $(EXECUTOR) --notebooks notebooks $(if $(FOLDS),--folds $(FOLDS)) \
	$(ARGS)
NETWORKS = $(if $(and $(filter %.toml,$(PROFILE)),$(filter file,$(origin MODEL))),,--networks $(MODEL))

train: $(VENV)/installed
	@$(TRAIN) $(NETWORKS)

train-both: $(VENV)/installed
	@$(TRAIN) --networks cnn-model-1 vgg16

# Paths are made absolute, as the notebook runs in its own folder; by Python, as macOS has no realpath -m.
absolute = "$(1)=$$($(PYTHON) -IS -c 'import os, sys; os.write(1, os.fsencode(os.path.realpath(sys.argv[1])))' "$$$(2)")$(3)"
FOLDERS = $(call absolute,input_folder,INPUT) $(call absolute,weights_folder,WEIGHTS) \
          $(call absolute,work_folder,OUTPUT,/work)
OWN_PROFILE = $(if $(filter %.toml,$(PROFILE)),$(call absolute,profile,PROFILE))

submission: $(VENV)/installed
	@$(call execute,inference-kernel,$$OUTPUT/build/notebooks,$(FOLDERS) \
		$(call absolute,submission_file,OUTPUT,/submission.csv) $(OWN_PROFILE))
	@cat "$$OUTPUT/submission.scores.txt" 2>/dev/null || true
	@echo "The submission is $$OUTPUT/submission.csv, the notebook with its figures is in $$OUTPUT/build/notebooks."
	@test ! -f "$$INPUT/test_post_competition.csv" || echo "next: make score SUBMISSION='$$OUTPUT/submission.csv'" \
		"TRUTH='$$INPUT/test_post_competition.csv' (each label's)"
	@echo "next: .venv/bin/python -m freesound_tagging --weights '$$WEIGHTS' FILE..."

score: $(VENV)/installed
	$(BIN)/python -m freesound_tagging.prediction "$${SUBMISSION:?which one? SUBMISSION=file}" "$${TRUTH:?which one? TRUTH=file}" \
		$(ARGS)

download: $(VENV)/installed
	$(BIN)/python -m freesound_tagging.clips download "$$INPUT" $(if $(ONLY),--only $(ONLY))

check: $(VENV)/installed
	$(BIN)/python -m freesound_tagging.clips check "$$INPUT"

kaggle: $(VENV)/installed
	$(BIN)/python notebooks/for_kaggle.py build/kaggle --weights "$$WEIGHTS" \
		--profile "$$PROFILE" $(if $(TRAINING),--training $(TRAINING) --seed $(SEED) $(if $(HOURS),--hours $(HOURS))) \
		$(if $(filter command line,$(origin USER)),--user "$(USER)")

app: $(VENV)/installed
	$(BIN)/python -W ignore -m freesound_tagging.app --weights "$$WEIGHTS" $(ARGS)

space: $(VENV)/installed
	$(BIN)/python notebooks/for_space.py build/space --weights "$$WEIGHTS" --profile "$$PROFILE"

bench: $(VENV)/installed
	$(BIN)/python -W ignore -m benchmarks.speed.run $(if $(filter command line,$(origin INPUT)),--input "$$INPUT") $(ARGS)

gpu: $(VENV)/installed
	$(BIN)/python -W ignore -m benchmarks.gpu.gpu $(if $(filter command line,$(origin INPUT)),--input "$$INPUT") $(ARGS)

rehearsal: $(VENV)/installed
	$(BIN)/python -W ignore -m benchmarks.rehearsal.rehearsal $(if $(filter command line,$(origin INPUT)),--input "$$INPUT") $(ARGS)

study: $(VENV)/installed
	$(BIN)/python -W ignore -m benchmarks.evidence.study "$$INPUT" $(ARGS)

# The notebooks as they are kept here, executed on the demo data.
notebooks: $(VENV)/installed
	rm -rf $(DEMO)
	$(BIN)/python notebooks/execute.py $(foreach name,training-cnn-model1 training-vgg16 inference-kernel,notebooks/$(name).ipynb)
	cp $(DEMO)/work/augmentation.png $(DEMO)/work/pipeline.png docs
	$(BIN)/python -W ignore docs/timeline.py

docs: $(VENV)/installed
	$(BIN)/python docs/rooms.py
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/docs
	@echo "The site is build/docs/index.html."

clean:
	rm -rf build $(VENV)
